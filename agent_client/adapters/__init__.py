"""
Models of others for `CodeActLoop`: each is a callable from chat messages to a Reply.

Nothing here needs a package beside the standard library; `openai`, `anthropic` and `litellm` are
used where their client is handed in, or, the last, where it is asked for.
"""
