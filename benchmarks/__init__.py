"""How fast is the governor, beside what one would write instead? Run `python -m benchmarks`."""
