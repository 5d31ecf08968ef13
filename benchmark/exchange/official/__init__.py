"""The forms in which SRe2L, LPLD and LPQLD publish labels: read safely, and written.

folder   which batches there are, and of which images
batch    one batch as this suite has it: views and labels
file     one file, told apart into its parts without running what it may carry
write    our labels and images for LPQLD's training script
"""

from .batch import OfficialBatch
from .folder import OfficialLabels, open_folder
from .write import write_images, write_lpqld

__all__ = ["OfficialBatch", "OfficialLabels", "open_folder", "write_images", "write_lpqld"]
