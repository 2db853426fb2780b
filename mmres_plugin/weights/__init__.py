"""Weights: conversion, loading and publishing."""

from .by_name import load_by_name
from .convert import convert_checkpoint, convert_state_dict
from .files import read_checkpoint
from .pretrained import load_pretrained
from .publish import publish_checkpoint
from .sources import recognise

__all__ = [
    "convert_checkpoint",
    "convert_state_dict",
    "load_by_name",
    "load_pretrained",
    "publish_checkpoint",
    "read_checkpoint",
    "recognise",
]
