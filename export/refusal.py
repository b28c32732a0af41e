"""what stops an export → one exception, whose message says why and what to do."""


class Refusal(Exception):
    """The model is not published, and nothing of it is left."""
