"""Pictures of evidence maps.

`overlay` lays a map over an image. `shown` holds the facts that a picture shows: labels, scores,
truth. `panels` and `sheets` arrange them as a `Drawing`, which is a list of texts, rectangles and
pictures; `themes` has its colours, and `fonts` measures its text. `raster` writes a drawing
as PNG or JPEG, and `svg` as SVG.
"""
