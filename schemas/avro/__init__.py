"""Avro payloads to Arrow columns, without Python per record: exact to the last byte, errors by payload."""

from .plan import Decoded, Plan, compile_plan

__all__ = ["Decoded", "Plan", "compile_plan"]
