"""The ban benchmark: clients against models of providers that deny and ban, in virtual time."""
