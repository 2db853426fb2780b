"""Classes that differ from their parent by the defaults of the constructor's arguments."""

import functools
import inspect
from typing import Any


class ClassDefaults:
    """Makes ``class SEResNet(ResNet, se_ratio=16)`` a ResNet whose default ``se_ratio`` is 16.

    The signature of each subclass lists all its arguments with these defaults, also those that a
    constructor passes on as ``**kwargs``. A wrong argument raises a TypeError that names the class.
    """

    def __init_subclass__(cls, **defaults: Any) -> None:
        super().__init_subclass__()
        constructor = cls.__init__
        parameters = dict(inspect.signature(constructor).parameters)
        if parameters.pop("kwargs", None):
            passed_on = inspect.signature(super(cls, cls).__init__).parameters
            parameters = {**passed_on, **parameters}
        parameters.update(
            {name: parameters[name].replace(default=defaults[name]) for name in defaults}
        )
        signature = inspect.Signature(list(parameters.values()))

        @functools.wraps(constructor)
        def __init__(self, *args, **kwargs) -> None:
            try:
                signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}") from None
            constructor(self, *args, **{**defaults, **kwargs})

        vars(__init__)["__signature__"] = signature
        cls.__init__ = __init__
