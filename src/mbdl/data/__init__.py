"""The data that studies use, from installed packages, with their splits."""

from mbdl.data.patches import orientation as orientation
from mbdl.data.patches import patches as patches
from mbdl.data.photographs import LUMINANCE_WEIGHTS as LUMINANCE_WEIGHTS
from mbdl.data.photographs import PHOTOGRAPHS as PHOTOGRAPHS
from mbdl.data.photographs import Photograph as Photograph
from mbdl.data.photographs import Split as Split
from mbdl.data.photographs import fingerprint as fingerprint
from mbdl.data.photographs import luminance as luminance
from mbdl.data.photographs import photograph as photograph
from mbdl.data.photographs import photographs as photographs
