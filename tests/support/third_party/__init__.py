"""What a package of somebody else brings: a source, an encoding, an envelope and a target, a file each.

The test of third parties copies this folder beside a `dist-info` and runs a job through all four. What stands here is
all that each of them takes.
"""
