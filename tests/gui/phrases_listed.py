"""What is listed by hand for `phrases.py`. {} is a value, {:zh} a value that is a phrase, too."""

FIELDS = "subject", "found", "expected", "remedy"
# What is made with which phrases, by place; "" is no phrase.
CALLS = {
    "UserError": ("", *FIELDS),
    "ScriptError": ("", *FIELDS),
    "CodedMaskError": ("", "found"),
    "FolderFaultsError": ("", "", *FIELDS),
    "Finding": ("", "what", "evidence", "advice"),
    "warn": ("remark",),
    "note": ("remark",),
    "print": ("line",),
    "Proposal": ("", "reason"),
    "Format": ("title",),
    "conflict": ("found", "expected", "remedy"),
    "damaged_picture": ("", "reason"),
    "stop_requested": ("promise",),
}
# Errors that are told as mistakes, in these modules.
EXPLAINED = "nets/config.py", "utils/models/", "utils/training/", "utils/importing/"
EXPLAINED += "utils/images/rle.py", "utils/images/large.py", "utils/images/tiff.py"
REASONS = "ValueError", "NotFinite", "EOFError", "TiffFileError"
# Lists of what is said later.
LISTS = "remarks", "tally", "doubts", "lines", "steps"
# Whose lines the window shows.
PRINTED = "train.py", "unet.py", "voc2unet.py", "json_to_dataset.py", "import_dataset.py"
PRINTED += "utils/doctor/", "utils/voc/", "utils/importing/", "utils/training/", "utils/models/weights.py"
# What the window does not reach.
LEFT_OUT = {
    "annotate.py": "not started by the window",
    "augment.py": "not started by the window",
    "export_dataset.py": "not started by the window",
    "get_miou.py": "not started by the window",
    "predict.py": "not started by the window, which calls what it calls",
    "utils/annotating": "for annotate.py alone",
    "utils/exporting": "for export_dataset.py alone",
    "utils/scoring/predictions.py": "for get_miou.py --compare alone",
    "utils/scoring/report.py": "for get_miou.py alone",
    "utils/scoring/tables.py": "for get_miou.py alone",
    "utils/inference/objects.py": "its lengths are settings of predict.py",
}

# What is said before a phrase, and has Chinese of its own below.
BEGINNINGS = ("for no other class than these, ",)

# Names, and lines of tables, which would not stay below each other.
SAME = """
annotations
categories
class_{}
GTcls.{}
images
imagesTr
CamVid
Cityscapes
nnU-Net
labelme
name:r,g,b:parts:actions
nibabel
onnxruntime
onnxscript
optimizer
pillow_heif
plain
pycocotools.mask
pydicom
pydicom.pixels
run_name: {} → {}
save_dir: {} → {}
scaler
torchrun
train {}
utf-8
val {}
epoch {}  loss {}     {} s
epoch {}  loss {}    {} s
epoch {}  loss {}  val_loss {}  mIoU {}    {} s
epoch {}  loss {}  val_loss {}  mIoU {} *  {} s
{} {} {} {}  class
{} {} {} {}  __ignore__
{} {} {} {}  __ignore__ (left out of training, scores and the shares above)
{} {} {} {}  __ignore__ (not annotated: left out of training, scores and the shares above)
{} {} {} {}  {} (left out of training, scores and the shares above)
{} {} {} {}  {} (not annotated: left out of training, scores and the shares above)
""".strip().split("\n")

# What no walk through the source finds: tables, values of other programs, joined parts.
BY_HAND = """
{}; the same in {} more, such as {}
… and {} more
more than {:zh}
less than {}
a finite number
{:zh}, {} % of the pixels, becomes {:zh} and {:zh} {:zh}
black
white
the background
class 1
ITK volume
NumPy array
NumPy archive
MATLAB array
camera raw
microscope
slide scan
drawing or document
picture of a rare type
high dynamic range
picture or mask
import them: python import_dataset.py --input {} --voc-root NEW
convert them to NIfTI (.nii.gz) and import them: python import_dataset.py --input {} --voc-root NEW
imwrite(uint8(x), "x.png") in MATLAB
develop them to TIFF or JPEG, as the camera's program does
open them in ImageJ (Bio-Formats) and save them as TIFF
export them as PNG
export regions as TIFF, in QuPath
export them as 16-bit TIFF
put the mask there: a picture is in its place
export it as PNG from the program that drew it, or take the nearest value or color: {}
as its picture before EXIF turns it
whose edges lie on those of its picture before EXIF turns it
colours
colours with alpha
gray with alpha
16-bit values
mode {}
{} pages
{} slices
{} pictures
{} points in time
image file is truncated
image file is truncated ({} bytes not processed)
Truncated File Read
broken PNG file ({})
Expecting value: line {} column {} (char {})
Expecting ',' delimiter: line {} column {} (char {})
Expecting ':' delimiter: line {} column {} (char {})
Expecting property name enclosed in double quotes: line {} column {} (char {})
Unterminated string starting at: line {} column {} (char {})
Extra data: line {} column {} (char {})
No closing quotation
No escaped character
Permission denied
No such file or directory
Is a directory
Not a directory
No space left on device
File exists
File name too long
Read-only file system
Unrecognized options: {}
Missing value for argument {}. Expected {} values.
Missing value for argument {}. Expected {} value.
invalid choice {} for argument {}. Expected one of {}.
Error parsing {}: {}
turned by 90°
turned by 180°
turned by 270°
mirrored left-right
mirrored top-bottom
mirrored at a diagonal
{} added
{} updated
{} unchanged
pictures without a mask
masks without a picture
first appearance over the files sorted by name
the lines of {}
class_names.txt as it stood; added: nothing
class_names.txt as it stood; added: {}
class_names.txt as it stood; added: nothing; removed, because no label uses it: {}
class_names.txt as it stood; added: {}; removed, because no label uses it: {}
gray, all equal
RGB, all equal
{} channels, all equal
missing
unexpected
other shape
the legend
the picture of the curves
smooth edges → the areas beside them
thin parts between the gray levels of areas → 255
other names and file types → NAME.png
all pictures are gray
{} file|s written, {:zh}
{} there already
{} page|s of {}
split of the data set: {}
left out of training, scores and the shares above
not annotated: left out of training, scores and the shares above
{} U-Net
{} U-Net of depth {}
{} on CPU, {} thread|s
{} epoch|s of {} step|s, {} crop|s
{} epoch|s of {} step|s with a frozen encoder, {} crop|s
{} minute|s in epochs of {} step|s, {} crop|s
{} minute|s in epochs of {} step|s with a frozen encoder, {} crop|s
have not taught: mIoU was {}
have not taught: the run was too short
taught in {} step|s; the teacher was sure of {} of their pixels
taught in {} step|s, then no more; the teacher was sure of {} of their pixels
{} file|s not found, such as {}: left out
ids outside the 19 classes are ignored (255)
its 32 colors are grouped into 11 classes, as usual
{} picture|s of test, whose labels are not public: left out
{} picture|s without objects, such as {}: left out
pixels without a segment are ignored (255)
pixels without a segment are background
without a pixel: they are too small, or outside of their pictures
beyond the edge of their pictures: were these resized after they were annotated?
no labels: pictures only
{} pair|s, {} of them VOC's
split: train {}, val {}
split: train {} (trainaug), val {}
classes: {} (python json_to_dataset.py has more settings)
export it in the coding of the other masks
as you chose
{}: {:zh}. Once more ends at once
ended by {}
interrupted
the window asked it to end
an up ({})
a left ({})
a direction ({})
it would give masks of the values {}
{} channels of {} and {} channels of {}
no modality
out of memory
CUDA out of memory. {}
Torch not compiled with CUDA enabled
class
value  {:zh}        pixels    share   masks
index   shapes       pixels    share  class
the color {} in {} and the color {} in {}
{} in {} and {} in {}
{}   after writing colors.txt, one line R G B NAME\
 per class (drawn areas and rare colors: {}; smooth edges: {})
{}   after writing colors.txt, one line R G B NAME\
 per class (drawn areas: {}; smooth edges: {})
{}   after writing colors.txt, one line R G B NAME, in the order of class_names.txt,\
 per class (drawn areas and rare colors: {}; smooth edges: {})
{}   after writing colors.txt, one line R G B NAME, in the order of class_names.txt,\
 per class (drawn areas: {}; smooth edges: {})
the colors count
for no other class than these, {:zh}
one class, and SegmentationObject keeps the numbers
each pixel of an edge takes an area beside it; {}?
where the values are classes, write class_names.txt
the values count, whatever their colors
write {}, a name for each of 0 … {}
or write {}, a name for each of 0 … {}
255 becomes a class: leave it out if it means 'ignore'
{} becomes the background
{} is stated, but the picture has {}
no {}, but {}
{} pixels
{}×{} (height×width)
""".strip().split("\n")
