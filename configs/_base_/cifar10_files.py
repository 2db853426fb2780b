"""A network trained on CIFAR-10, for image files: folders to test on, or any photograph."""

_base_ = "cifar10_narrow.py"

test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/cifar10/test",
        metainfo=dict(
            classes=[
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ]
        ),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="ResizeEdge", scale=32, edge="short", interpolation="area"),
            dict(type="CenterCrop", crop_size=32),
            dict(type="PackInputs"),
        ],
    )
)
