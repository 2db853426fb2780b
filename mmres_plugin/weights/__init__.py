"""Weights: conversion, loading and publishing."""

from .convert import convert_checkpoint, convert_state_dict, recognise
from .files import read_checkpoint

__all__ = ["convert_checkpoint", "convert_state_dict", "read_checkpoint", "recognise"]
