"""Image sources, one a file: where a set of distilled images comes from.

A source is a module, found by its file's name, that has

- `Options`: a frozen dataclass of what can be chosen, each field with a default;
- `needs(options, ipc) -> Needs`: what `make` is given beside the real dataset: the teacher, the
  images of another source to start from, other real datasets; and the files and priors that
  count for the key of the images by their content;
- `check(dataset, ipc, options, network)`: raises a `UserError` for what shows before anything
  is made; `network` is of the teacher's kind, its weights unset;
- `make(task: ImageTask, options) -> ResidentImages`: exactly `task.ipc` images of every class,
  class by class in label order, on the CPU, at the dataset's resolution.

`task.based()` are the images to start from, `task.others` the other real datasets by name;
`task.taught()` maps float pixels in 0..1, (B, C, R, R) on the device, to logits (B, classes);
it normalises them itself and is in evaluation mode. A source is a pure function of its task:
the same seed gives the same images. The first line of its docstring is what
`python -m benchmark list` shows.
"""
