"""What is said on the wire: messages between peers, facts in the ledger, and the codec that turns bytes into either.

``messages`` and ``facts`` are pure data that every room may import; ``codec`` alone knows bytes (``values``: those of
users). The prose for people who write a producer or an agent in another language is ``PROTOCOL.md`` beside this file;
``document`` draws its tables, and ``asyncapi.json``, from the types.
"""
