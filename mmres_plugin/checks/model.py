"""Does the model freeze random weights, or return its stages in another order?"""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..config_parts import as_list
from ..weights.pretrained import is_pretrained
from .faults import Remark
from .setup import Setup


def model_problems(setup: Setup, model: nn.Module) -> Iterator[str]:
    """What keeps a model that can be built from learning."""
    if not setup.load_from and not setup.resumes and not loads_itself(setup):
        yield from frozen_without_weights(setup, model)
    for name, module in model.named_modules():
        stages = getattr(module, "out_indices", None)
        if isinstance(stages, list | tuple) and list(stages) != sorted(stages):
            yield (
                f"{setup.key_of(name, module)}.out_indices is {stages}: a backbone returns its "
                "stages in ascending order, whatever you write here. Write "
                f"{tuple(sorted(stages))}"
            )


def frozen_without_weights(setup: Setup, model: nn.Module) -> Iterator[str]:
    """An error for each backbone that keeps stages as they are drawn at random.

    Frozen norms of random weights are a remark: the other layers can learn around them.
    """
    model.train()  # some freeze their stages only here
    loaded: list[str] = []
    said: set[str] = set()  # a student and its teacher have one config
    for name, module in model.named_modules():
        settings = as_list(getattr(module, "init_cfg", None))
        if any(isinstance(setting, dict) and is_pretrained(setting) for setting in settings):
            loaded.append(f"{name}." if name else "")
        norm_cfg = getattr(module, "norm_cfg", None) or {}
        fixed = any(not parameter.requires_grad for parameter in module.parameters())
        norms = any(isinstance(child, _BatchNorm) for child in module.modules())
        frozen = {  # at frozen_stages=0 some backbones freeze the stem, others nothing
            "frozen_stages=-1": fixed and getattr(module, "frozen_stages", -1) >= 0,
            "norm_eval=False": norms and getattr(module, "norm_eval", False),
            "norm_cfg.requires_grad=True": not norm_cfg.get("requires_grad", True),
        }
        wrong = [option for option, is_frozen in frozen.items() if is_frozen]
        key = setup.key_of(name, module)
        if not hasattr(module, "frozen_stages") or not wrong or key in said:
            continue
        if not f"{name}.".startswith(tuple(loaded)):
            said.add(key)
            options = " ".join(f"{key}.{option}" for option in wrong)
            text = (
                f"{key}: starts from random weights and keeps some of them as they are. "
                f"Give it weights (init_cfg=dict(type='Pretrained', checkpoint=…), or load_from), "
                f"or train all of it: --cfg-options {options}"
            )
            yield text if frozen["frozen_stages=-1"] else Remark(text)


def loads_itself(setup: Setup) -> bool:
    """Whether a constructor in the model reads weights, as those of students read a teacher's."""
    return any(
        isinstance(value, str) and value.endswith((".pth", ".pt", ".safetensors"))
        for part in setup.model_parts
        if not is_pretrained(part.settings)
        for value in part.settings.values()
    )
