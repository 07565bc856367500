"""Augmentation of a batch of clips [N, T, M, V, 3], on the device that trains."""

from __future__ import annotations

import torch
from torch import Tensor

from ski_edge.skeleton import Layout
from ski_edge.train.recipe import SkeletonAugment


def augment(clips: Tensor, recipe: SkeletonAugment, layout: Layout, generator: torch.Generator) -> Tensor:
    """Bones, held joints, noise, as far as the recipe asks. Missing bodies (all zero) stay missing."""
    present = (clips != 0).any(dim=(-2, -1), keepdim=True)
    if recipe.stretch_bones:
        clips = stretch_bones(clips, layout, recipe.stretch_bones, generator)
    if recipe.drop_joints:
        shape = (len(clips), 1, 1, layout.num_joints, 1)
        held = torch.rand(shape, generator=generator, device=clips.device) < recipe.drop_joints
        clips = torch.where(held, clips[:, :1], clips)
    if recipe.noise:
        clips = clips + recipe.noise * torch.randn(clips.shape, generator=generator, device=clips.device)
    return clips * present


def rotate(clips: Tensor, recipe: SkeletonAugment, generator: torch.Generator) -> Tensor:
    """One rotation per clip about the origin, angles uniform up to `recipe.rotate`.

    Order xyz is CTR-GCN's random_rot (R = Rz Ry Rx before the joint); zyx is its NW-UCLA feeder, where the joint stands
    before the matrix, so that y turns first, then x.
    """
    if not any(recipe.rotate):
        return clips
    draw = torch.rand((len(clips), 3), generator=generator, device=clips.device, dtype=clips.dtype)
    matrices = rotation((2 * draw - 1) * torch.tensor(recipe.rotate, device=clips.device))
    return apply_rotation(clips, matrices if recipe.rotate_order == "xyz" else matrices.transpose(1, 2))


def apply_rotation(clips: Tensor, matrices: Tensor) -> Tensor:
    """clips [N, T, M, V, 3], matrices [N, 3, 3] -> R @ xyz."""
    return (clips.flatten(1, 3) @ matrices.transpose(1, 2)).view_as(clips)


def rotation(angles: Tensor) -> Tensor:
    """Angles [N, 3] in radians -> [N, 3, 3], signs as in CTR-GCN's code: Rx has rows (1,0,0), (0,c,s), (0,-s,c)."""
    c, s = torch.cos(angles), torch.sin(angles)
    zero, one = torch.zeros_like(c[:, 0]), torch.ones_like(c[:, 0])

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, c[:, 0], s[:, 0], zero, -s[:, 0], c[:, 0])
    about_y = matrix(c[:, 1], zero, -s[:, 1], zero, one, zero, s[:, 1], zero, c[:, 1])
    about_z = matrix(c[:, 2], s[:, 2], zero, -s[:, 2], c[:, 2], zero, zero, zero, one)
    return about_z @ about_y @ about_x


def stretch_bones(clips: Tensor, layout: Layout, share: float, generator: torch.Generator) -> Tensor:
    """Another person's proportions: every bone of a clip is longer or shorter by up to `share`, the root stays."""
    parents, count = list(layout.parents), layout.num_joints
    path = torch.zeros(count, count)  # path[j, k]: bone k lies between the root and joint j
    for joint in range(count):
        step = joint
        while parents[step] != step:
            path[joint, step] = 1
            step = parents[step]
    shape = (len(clips), 1, 1, count, 1)
    factor = 1 + share * (2 * torch.rand(shape, generator=generator, device=clips.device) - 1)
    bones = (clips - clips[..., parents, :]) * factor
    return clips[..., layout.root : layout.root + 1, :] + path.to(clips) @ bones
