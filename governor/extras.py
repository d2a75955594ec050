"""Errors for optional dependencies that are not installed."""

_OURS = ("governor", "governor_client")


def missing(extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error to raise instead of `error`: it names the extra that brings the module.

    Returns `error` itself if the missing module is part of this distribution, because then no extra helps.
    """
    module = (error.name or "").partition(".")[0]
    if not module or module in _OURS:
        return error
    return ModuleNotFoundError(
        f"{module} is not installed, and this part of traffic-governor needs it: pip install 'traffic-governor[{extra}]'",
        name=error.name,
    )
