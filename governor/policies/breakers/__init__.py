"""Circuit breakers: the policy, its parameters and states, and the log of the calls that it judges."""
