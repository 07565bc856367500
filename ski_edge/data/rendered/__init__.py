"""Skeletons made into video: RGB clips whose pixels nobody owns, truly paired with joints and text. numpy and OpenCV.

look.py        everything random about a clip (`Look`, `draw_look`)
solids.py      the one shape there is, the convex hull of some spheres, and how to make rods, slabs and discs of it
body.py        joints -> shapes of a person
objects.py     what a hand can hold
level.py       people who lean because their sensor does
camera.py      a camera fitted to the whole clip
background.py  room or open air, furniture
stage.py       all of these for one clip, level and in metres
coordinates.py pixels with a fraction, for OpenCV
paint.py       shapes -> pixels, far to near
shadow.py      their shadows on the floor
clips.py       `render`, `silhouette`
world.py       which clips a data set is drawn as: looks, and objects that go with classes
source.py      all of them, drawn once and kept
"""

from ski_edge.data.rendered.clips import render, silhouette
from ski_edge.data.rendered.look import Look, draw_look
from ski_edge.data.rendered.objects import OBJECTS

__all__ = ["OBJECTS", "Look", "draw_look", "render", "silhouette"]
