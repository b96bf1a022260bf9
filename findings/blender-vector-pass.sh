#!/usr/bin/env bash
# Blender 4.5.15 (bpy), Cycles: the four channels of the pass Vector. Needs Python 3.11, as bpy 4.5 does.
# One would guess: they are "2D vectors giving the motion towards the next and previous frame position in pixel
#   space", as the manual has it (Rendering, Layers, Passes): first the next, each from here to there.
# What happens: X and Y lead from here to the frame before; Z and W lead from the next frame to here, so with
#   the opposite sign. Of what moves evenly both are equal, and say "back" twice. Rows are counted up.
# Why it matters: taken at its word, a film is followed the wrong way; taken for two vectors of one convention,
#   one of its two motions is.
# Source: Blender's own node Vector Blur draws from one to the other, for which that is as good.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check bpy==4.5.15 openexr==3.5.3 numpy==1.26.4

cat > "$work/look.py" <<'PYTHON'
import sys

import bpy
import numpy as np
import OpenEXR

folder = sys.argv[1]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
camera = bpy.data.cameras.new("camera")
camera.type, camera.ortho_scale = "ORTHO", 4.0  # of 32 pixels: a unit has eight
scene.camera = bpy.data.objects.new("camera", camera)
scene.camera.location = (0, 0, 10)
scene.collection.objects.link(scene.camera)
bpy.ops.mesh.primitive_plane_add(size=2)
square = bpy.context.object
for frame, (right, up) in {1: (0, 0), 2: (3, 1), 3: (8, 3)}.items():
    square.location = (right / 8, up / 8, 0)
    square.keyframe_insert("location", frame=frame)
for curve in square.animation_data.action.fcurves:
    for point in curve.keyframe_points:
        point.interpolation = "LINEAR"
scene.frame_start = scene.frame_end = 2
scene.render.engine, scene.cycles.samples = "CYCLES", 1
scene.render.resolution_x, scene.render.resolution_y = 32, 24
scene.view_layers[0].use_pass_vector = True
scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
scene.render.filepath = f"{folder}/####.exr"
bpy.ops.render.render(animation=True)

with OpenEXR.File(f"{folder}/0002.exr", separate_channels=True) as file:
    found = {
        name[-1]: round(float(channel.pixels[12, 16]), 3)
        for name, channel in file.channels().items()
        if ".Vector." in name
    }
print(f"Blender {bpy.app.version_string}, a square that came 3 px from the left and 1 px from below,")
print(f"and goes 5 px to the right and 2 px up: {dict(sorted(found.items()))}")
if found != {"X": -3.0, "Y": -1.0, "Z": -5.0, "W": -2.0}:
    sys.exit("CHANGED: this is no longer what the header says")
PYTHON
"$work/venv/bin/python" "$work/look.py" "$work" | grep -v -e "^Fra:" -e "^Saved" -e "^Time" -e "^$"
echo "AS DESCRIBED: X and Y lead to the frame before, Z and W from the next frame here, rows up"
