"""From what an encoding's loop wrote to Arrow arrays: the room that all encodings share, and that knows none of them.

A loop of an encoding walks payloads and writes numbers into slots (`layout`, `slots`); `arrays` makes Arrow arrays of
them. A new encoding begins with `types`: it makes a `Type` of its schema, asks `logical_types` how each value is held,
takes slots for it, and describes the array to be as a `Column`. Texts, instants and decimals are in `text` and
`decimals`, compiled by `jit`.
"""
