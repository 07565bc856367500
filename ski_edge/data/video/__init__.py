"""Labelled video for training and evaluation: numpy and OpenCV, no torch.

source.py     what every source of clips offers (`VideoSource`)
files.py      clips that are files of a folder (`VideoFiles`)
csv_list.py   ... of the official list (`CsvVideos`), with NTU's names (`NtuVideos`) or any (`FolderVideos`)
decode.py     frames of one file, and what is wrong with a file
cache.py      decoded frames kept on the disk
pairing.py    videos and skeletons of one name
sampling.py   which frames of a clip
crops.py      which part of the frames
views.py      what a network is tested on
ahead.py      threads that make clips while the network works
"""

from ski_edge.data.video.cache import CachedVideos
from ski_edge.data.video.csv_list import CsvVideos, FolderVideos, NtuVideos, open_videos
from ski_edge.data.video.files import VideoFiles
from ski_edge.data.video.pairing import pair, unpaired
from ski_edge.data.video.source import VideoSource

__all__ = [
    "CachedVideos",
    "CsvVideos",
    "FolderVideos",
    "NtuVideos",
    "VideoFiles",
    "VideoSource",
    "open_videos",
    "pair",
    "unpaired",
]
