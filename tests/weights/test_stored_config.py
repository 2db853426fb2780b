"""Configs from a hub are data: hostile ones end in a sentence, ordinary ones build their model."""

import os
import pickle
import socket
import time
from pathlib import Path

import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.apis.model import ModelHub

from mmres_plugin.weights import stored_config
from mmres_plugin.weights.hugging_face import kept_settings

SECONDS = 20
SCOPE = "default_scope = 'mmpretrain'\n"
MODEL = SCOPE + "model = dict(type='ImageClassifier', backbone=dict(type='{}', {}), head={})"
CLASSIFIER = MODEL.format("mmres_plugin.SReResNet", "{}", None)
HEAD = MODEL.format("ResNet", "depth=18", "{}")
PIPELINE = "test_dataloader = dict(dataset=dict(type='ImageNet', pipeline=[{}]))"
VQA = (
    "dict(type='VQAGenerationHead', decoder=dict(type='ReLU'), inference_method='rank', "
    "num_ans_candidates=1, answer_list_path='answers')"
)
TEACHER = "model = dict(type='KnowledgeDistillationSingleStageDetector', teacher_ckpt='http://a/b')"
DARKNET = MODEL.format("mmdet.CSPDarknet", "{}", None)
REFUSED = {
    "import": ("import os", "line 1 is not a setting"),
    "call": ("model = __import__('os').mkdir('mark')", "line 1 calls a function"),
    "name": ("model = dict(type=open)", "malformed node"),
    "function of a module": ("model = dict(type='os.mkdir', path='mark')", "model.type='os.mkdir'"),
    "builtin": ("model = dict(type='exec', source='1')", "model.type='exec'"),
    "import of its own": ("custom_imports = dict(imports=['mark'])", "keys that build no model"),
    "scope": ("default_scope = 'mark'", "default_scope='mark'"),
    "local scope": (CLASSIFIER.format("_scope_='mark', depth=18"), "_scope_='mark'"),
    "pickle of answers": (HEAD.format(VQA), "head.type='VQAGenerationHead'"),
    "teacher": (TEACHER, "KnowledgeDistillation.*teacher_ckpt='http://a/b'"),
    "language model": (HEAD.format("dict(type='BertModel', name='bert')"), "type='BertModel'"),
    "hub of timm": ("model = dict(type='TIMMBackbone', model_name='resnet18')", "'TIMMBackbone'"),
    "checkpoint": (CLASSIFIER.format("init_cfg=dict(type='Pretrained', checkpoint='/a')"), "'/a'"),
    "address": (CLASSIFIER.format("depth=18, style='mmcls://resnet18'"), "style='mmcls"),
    "config file": (CLASSIFIER.format("depth='config.py'"), "depth='config.py'"),
    "file here": (CLASSIFIER.format("depth='answers'"), "depth='answers'"),
    "albumentations": (PIPELINE.format("dict(type='Albu', transforms=[dict(type='B')])"), "='B'"),
    "bytes": (CLASSIFIER.format("depth=18, style=b'/a'"), "style=b'/a'"),
    "set": (CLASSIFIER.format("depth={'answers'}"), "depth={'answers'}"),
    "signs": ("x = " + "-" * 100_000 + "1", "nested too deeply|MemoryError|parser|too many"),
    "unhashable": ("x = {[]: 1}", "unhashable"),
    "long": ("x = '" + "a" * 300_000 + "'", "300,006 characters"),
    "power": (CLASSIFIER.format("depth=18, base_channels=10**7"), "malformed"),
    "wide": (CLASSIFIER.format("depth=18, base_channels=10000000"), "base_channels=10000000"),
    "less wide": (CLASSIFIER.format("depth=18, base_channels=30000"), "absurdly large"),
    "deep": (CLASSIFIER.format("depth=(30000, 2, 2, 2)"), "absurdly large"),
    "wide by a factor": (DARKNET.format("widen_factor=1e7"), "absurdly large"),
    "infinite": (DARKNET.format("widen_factor=1e400"), "widen_factor=inf"),
    "hidden in names": (CLASSIFIER.format("classes=[dict(type='a.b')]"), "classes.0.type='a.b'"),
    "unpacked": ("model = dict(**dict(type='os.mkdir'))", "type='os.mkdir'"),
    "file of classes": ("test_dataloader = dict(metainfo=dict(classes='a.txt'))", "='a.txt'"),
    "huge image": (PIPELINE.format("dict(type='Resize', scale=(900000, 9))"), "scale.0=900000"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_hostile_configs(tmp_path, monkeypatch, kind):
    """Each ends in a sentence within seconds, and nothing that it names is made or imported."""
    monkeypatch.chdir(tmp_path)
    text, answer = REFUSED[kind]
    Path("config.txt").write_text(text)
    Path("answers").write_bytes(pickle.dumps([1]))
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"(?s)the config of hf://me/bad was refused.*({answer})"):
        stored_config.read(Path("config.txt"), "hf://me/bad")
    assert time.monotonic() - start < SECONDS
    assert not Path("mark").exists()


REACHES = {
    "read": lambda: Path("answers").read_bytes(),
    "os.open": lambda: os.close(os.open("answers", os.O_RDONLY)),
    "write": lambda: Path("b").write_text(""),
    "change": lambda: Path(stored_config.__file__).open("a").close(),
    "unpickle": lambda: pickle.loads(pickle.dumps(os.getcwd)),
    "system": lambda: os.system("true"),
    "exec": lambda: exec("1"),
    "compile": lambda: eval("1 + 1"),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
    "rename": lambda: os.rename("answers", "b"),
    "delete": lambda: os.remove("answers"),
}


@pytest.mark.parametrize("kind", REACHES)
def test_a_class_that_reaches_out_is_stopped(tmp_path, monkeypatch, kind):
    """Even one that is thought to be plain, and that swallows the error."""

    class Curious:
        def __init__(self) -> None:
            try:
                REACHES[kind]()
            except OSError as error:
                assert isinstance(error, PermissionError)

    monkeypatch.chdir(tmp_path)
    Path("answers").write_text("")
    MODELS.register_module(name="Curious", module=Curious, force=True)
    try:
        with pytest.raises(ValueError, match="reached out while it was built"):
            stored_config.try_out(Config(dict(model=dict(type="Curious"))))
        assert Path("answers").is_file()
        REACHES["read"]()  # allowed again
    finally:
        MODELS.module_dict.pop("Curious")


OURS = (
    "sreresnet/sreresnet50_8xb32_in1k",
    "seresnet/seresnext50-32x4d_8xb32_in1k",
    "sreresnet/fcos_sreresnet50_1x",
    "digits/fcos_sreresnet18_digits",
)
THEIRS = (
    "vit-base-p16_32xb128-mae_in1k",
    "convnext-tiny_32xb128_in1k",
    "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py",
)
MORE = (
    "sreresnet/faster-rcnn_sreresnetv1d50_1x",
    "edresnet/edresnet50_8xb32_in1k",
    "iresnet/iresgroup50_8xb32_in1k",
    "swin-tiny_16xb64_in1k",
    "regnetx-3.2gf_8xb64_in1k",
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "mmdet::yolox/yolox_s_8xb8-300e_coco.py",
    "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in MORE]


@pytest.mark.parametrize("name", [*OURS, *THEIRS, *SLOW])
def test_ordinary_models_are_accepted(tmp_path, name):
    if "/" in name and "::" not in name:
        cfg = Config.fromfile(ROOT / f"configs/{name}.py")
    elif name.startswith("mmdet::"):
        (tmp_path / "base.py").write_text(f"_base_ = '{name}'")
        cfg = Config.fromfile(tmp_path / "base.py")
    else:
        cfg = ModelHub.get(name).config
    path = tmp_path / "config.py"
    path.write_text(Config(kept_settings(cfg)).pretty_text)
    assert stored_config.read(path, "hf://me/good").model.type == cfg.model.type
