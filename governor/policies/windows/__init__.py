"""Strict windows: the policy, its parameters, its uses, and what is granted ahead."""
