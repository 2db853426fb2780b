"""Classes that differ from their parent by the defaults of the constructor's arguments."""

import functools
from inspect import Parameter, Signature, signature
from typing import Any


class ClassDefaults:
    """Makes ``class SEResNet(ResNet, se_ratio=16)`` a ResNet whose default ``se_ratio`` is 16.

    The signature of each subclass lists all its arguments with these defaults, also those that a
    constructor passes on as ``**kwargs``. A wrong argument raises a TypeError that names the class.
    """

    def __init_subclass__(cls, **defaults: Any) -> None:
        super().__init_subclass__()
        constructor = cls.__init__
        parameters = all_parameters(signature(constructor), signature(super(cls, cls).__init__))
        for name, default in defaults.items():
            if name not in parameters:
                raise TypeError(f"class {cls.__name__}: its parent has no argument {name!r}")
            parameters[name] = parameters[name].replace(default=default)
        complete = Signature(list(parameters.values()))

        @functools.wraps(constructor)
        def __init__(self, *args, **kwargs) -> None:
            try:
                given = complete.bind(self, *args, **kwargs).arguments
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}") from None
            rest = {name: value for name, value in defaults.items() if name not in given}
            constructor(self, *args, **rest, **kwargs)

        vars(__init__)["__signature__"] = complete
        cls.__init__ = __init__


def all_parameters(own: Signature, inherited: Signature) -> dict[str, Parameter]:
    """The parameters of a constructor, and those that it passes on to its parent's."""
    kinds = {parameter.kind for parameter in own.parameters.values()}
    if Parameter.VAR_KEYWORD not in kinds:
        return dict(own.parameters)
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    merged = {name: p for name, p in own.parameters.items() if p.kind not in variadic}
    for name, parameter in inherited.parameters.items():
        if Parameter.VAR_POSITIONAL not in kinds:
            parameter = parameter.replace(kind=Parameter.KEYWORD_ONLY)
        if parameter.default is Parameter.empty:  # the constructor may give it
            parameter = parameter.replace(default=None)
        merged.setdefault(name, parameter)
    return dict(sorted(merged.items(), key=lambda item: item[1].kind))
