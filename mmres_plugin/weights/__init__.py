"""Weights: conversion, loading and publishing."""

from .convert import convert_state_dict, recognise

__all__ = ['convert_state_dict', 'recognise']
