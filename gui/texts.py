"""The texts of the window: English as in the code → Chinese, with the same {names} in both."""

# Words are those of README.zh-CN.md: 掩码 for mask, 类别 for class, 权重 for weights.
_MENUS: dict[str, str] = {}

_VIEWER: dict[str, str] = {}

_TRAINING: dict[str, str] = {}

CHINESE = {**_MENUS, **_VIEWER, **_TRAINING}
