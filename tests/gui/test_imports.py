"""What the process of the window loads: PyTorch would stop it for seconds, and is for the other process."""

from scripts import ROOT, start


def test_the_window_loads_neither_pytorch_nor_matplotlib():
    modules = "gui.application, gui.model, gui.saving, gui.listing, utils.inference.video_files"
    code = f"import sys, {modules}; print({{'torch', 'matplotlib'}} & set(sys.modules))"
    done = start(["-c", code], ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr
