"""Seconds and peak memory of voc2unet.py on 20 to 2,000 pictures of 512×512: python benchmarks/doctor.py"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.core.files import write_lines
from utils.images.writing import write_image, write_mask
from utils.voc.demo import CLASS_NAMES, draw_sample
from utils.voc.folder import VocFolder

ROOT = Path(__file__).parents[1]
# The peak of the process itself, in MiB, and the seconds that it says it took, imports left out.
MEASURED = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
import voc2unet
start = time.perf_counter()
voc2unet.main(voc2unet.Config(voc2unet.Path(sys.argv[2]), voc2unet.SplitSettings(overwrite=True)))
print("measured", time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make_folder(root: Path, count: int) -> VocFolder:
    """Pictures in color (JPEG) and gray (PNG): ten drawn ones, shifted so that no two are the same."""
    folder = VocFolder(root)
    drawn = [draw_sample(seed, 512) for seed in range(10)]
    for index in range(count):
        image, mask = (np.roll(part, (index, 7 * index), (0, 1)) for part in drawn[index % 10])
        name, colour = f"cells_{index:04d}", index % 2 == 0
        picture = np.stack([image, np.roll(image, 1, 0), image // 2], axis=2) if colour else image
        write_image(folder.images_dir / f"{name}{'.jpg' if colour else '.png'}", picture)
        write_mask(folder.mask_path(name), mask)
    write_lines(folder.class_names_path, CLASS_NAMES)
    return folder


def main() -> None:
    print("pictures   seconds   ms per picture   peak MiB")
    for count in (20, 200, 2000):
        with tempfile.TemporaryDirectory() as directory:
            folder = make_folder(Path(directory), count)
            command = [sys.executable, "-c", MEASURED, str(ROOT), str(folder.root)]
            output = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
        seconds, peak = map(float, output.rsplit("measured", 1)[1].split())
        print(f"{count:8d} {seconds:9.1f} {1000 * seconds / count:14.1f} {peak:10.0f}")


if __name__ == "__main__":
    main()
