"""Image sources, one a file: where a set of distilled images comes from.

A source is a module, found by its file's name, that has

- `Options`: a frozen dataclass of what can be chosen, each field with a default;
- `NEEDS_TEACHER`: whether `make` asks the teacher anything;
- `check(dataset, ipc, options)`: raises a `UserError` for what shows before anything is made;
- `make(dataset, ipc, options, seed, teacher, device) -> ResidentImages`: exactly `ipc` images
  of every class, class by class in label order, on the CPU, at the dataset's resolution.

`teacher` maps float pixels in 0..1, (B, C, R, R) on `device`, to logits (B, classes); it
normalises them itself and is in evaluation mode. It is None where `NEEDS_TEACHER` is false. A
source is a pure function of its arguments: the same seed gives the same images. The first line
of its docstring is what `python -m benchmark list` shows.
"""
