"""Limiters that several processes of one machine share."""
