"""What options of the command line hold: numbers, rates, shares."""

import argparse
import re


def _number(text: str, least: int) -> int:
    if not re.fullmatch(r"\d[\d_]*", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{' above 0' if least else ' of 0 or more'}")
    return int(text)


def count(text: str) -> int:
    """A whole number."""
    return _number(text, 0)


def positive(text: str) -> int:
    """A whole number above 0."""
    return _number(text, 1)


def rate(text: str) -> float:
    """Messages a second."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/s)?", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate such as 5000/s")
    return float(match[1])


def share(text: str) -> float:
    """A part of one."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text)
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 5% or 0.05")
    return share
