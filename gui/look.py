"""Light and dark."""

from PyQt5.QtGui import QColor, QPalette
from PyQt5.QtWidgets import QApplication

DARK = {
    QPalette.Window: "#26282c",
    QPalette.WindowText: "#e6e6e6",
    QPalette.Base: "#3a3d43",
    QPalette.AlternateBase: "#42454c",
    QPalette.ToolTipBase: "#33363b",
    QPalette.ToolTipText: "#e6e6e6",
    QPalette.Text: "#e6e6e6",
    QPalette.Button: "#33363b",
    QPalette.ButtonText: "#e6e6e6",
    QPalette.BrightText: "#ff6b6b",
    QPalette.Link: "#7ab7ff",
    QPalette.Highlight: "#3d7bd9",
    QPalette.HighlightedText: "#ffffff",
    QPalette.Mid: "#44484f",
    QPalette.Light: "#44484f",
    QPalette.Dark: "#151618",
    QPalette.Shadow: "#0c0d0e",
}
LIGHT = {
    QPalette.Window: "#f3f3f4",
    QPalette.WindowText: "#1d1d1f",
    QPalette.Base: "#ffffff",
    QPalette.AlternateBase: "#f0f0f2",
    QPalette.ToolTipBase: "#ffffff",
    QPalette.ToolTipText: "#1d1d1f",
    QPalette.Text: "#1d1d1f",
    QPalette.Button: "#eaeaec",
    QPalette.ButtonText: "#1d1d1f",
    QPalette.BrightText: "#b3261e",
    QPalette.Link: "#1f5fbf",
    QPalette.Highlight: "#2f6fd0",
    QPalette.HighlightedText: "#ffffff",
}
DISABLED = {"light": "#9a9a9e", "dark": "#7d8086"}


def is_dark_system(application: QApplication) -> bool:
    """By the colors that the platform gave before any of ours."""
    return application.style().standardPalette().color(QPalette.Window).lightness() < 128


def set_look(application: QApplication, look: str, system_dark: bool) -> None:
    """light, dark, or system. system_dark: see `is_dark_system`."""
    dark = system_dark if look == "system" else look == "dark"
    palette = QPalette()
    for role, color in (DARK if dark else LIGHT).items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.Text, QPalette.WindowText, QPalette.ButtonText):
        palette.setColor(QPalette.Disabled, role, QColor(DISABLED["dark" if dark else "light"]))
    application.setStyle("Fusion")
    application.setPalette(palette)
