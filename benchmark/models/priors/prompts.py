"""Prompts: how a class name becomes the texts that a prior's text tower embeds."""

TEMPLATE = "a photo of a {}."


def templates(prompts: str) -> tuple[str, ...]:
    """The texts, each with one `{}` for the class, that `prompts` stands for.

    Args:
        prompts: `photo` (TEMPLATE), `simple` (open_clip's 7), `imagenet` (OpenAI's 80), or texts
            of the user's own, separated by `|`.

    Raises:
        ValueError: it is none of these.
    """
    if prompts == "photo":
        return (TEMPLATE,)
    if prompts in ("simple", "imagenet"):
        import open_clip  # takes seconds, and `photo` needs none of it

        simple, full = open_clip.SIMPLE_IMAGENET_TEMPLATES, open_clip.OPENAI_IMAGENET_TEMPLATES
        return tuple(template("{}") for template in (simple if prompts == "simple" else full))
    texts = tuple(text.strip() for text in prompts.split("|"))
    if any(text.count("{}") != 1 for text in texts):
        raise ValueError(
            "prompts must be photo, simple or imagenet, or texts with one {} each, separated "
            f"by |, got {prompts!r}"
        )
    return texts


def class_noun(name: str) -> str:
    """What a class is called in a text.

    A name that lists synonyms ("goldfish, Carassius auratus") counts by its first.
    """
    return name.split(",")[0].replace("_", " ")
