"""Draw the 30 pictures of docs/tutorial.md, with labelme files for those who do not want to annotate by hand.

python docs/tutorial_pictures.py
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from utils.core.console import run_script
from utils.images.writing import write_image
from utils.labelme.writing import write_labelme
from utils.voc.demo import CLASS_NAMES, draw_sample

# Folder of the pictures, their numbers, and whether their labelme files lie beside them.
FOLDERS = (("annotated", range(100, 116), True), ("more", range(116, 130), False))
# One annotator wrote a name otherwise, as it happens.
SLIP = 104


@dataclass
class Config:
    """Settings of the drawing."""

    output: Path = Path("tutorial")  # folder for annotated/ and more/, whose truth is in more_truth/


def main(config: Config) -> None:
    for folder, numbers, annotated in FOLDERS:
        truth = config.output / (folder if annotated else f"{folder}_truth")
        truth.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            image, mask = draw_sample(number)
            write_image(config.output / folder / f"cells_{number}.png", image)
            names = [name.title() if number == SLIP else name for name in CLASS_NAMES]
            write_labelme(truth / f"cells_{number}.json", f"cells_{number}.png", mask, names)
        print(f"{len(numbers)} pictures in {config.output / folder}, their labelme files in {truth}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
