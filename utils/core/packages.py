"""Packages that only some users need."""

import importlib
from types import ModuleType

from utils.core.console import UserError


def optional_package(module: str, package: str, subject: object) -> ModuleType:
    """An imported module, which `subject` needs. Raises UserError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        found, remedy = f"the package {package} is not installed ({error})", f"pip install {package}"
        raise UserError("package-missing", subject, found, f"the package {package}", remedy) from None
