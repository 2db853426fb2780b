"""What a check finds: errors, which are plain texts, and remarks."""


class Remark(str):
    """A finding with which the run goes on; any other text is an error."""
