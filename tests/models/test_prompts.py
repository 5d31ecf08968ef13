import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.models.priors.prompts import TEMPLATE, class_noun, templates


def test_named_templates():
    assert templates("photo") == (TEMPLATE,)
    for name, count in (("simple", 7), ("imagenet", 80)):
        texts = templates(name)
        assert len(texts) == count
        assert all(text.count("{}") == 1 for text in texts)
    assert templates("simple")[0].replace("{}", "cat") == open_clip.SIMPLE_IMAGENET_TEMPLATES[0](
        "cat"
    )


def test_texts_of_the_user():
    assert templates("a drawing of a {}. | {}") == ("a drawing of a {}.", "{}")
    assert templates("a {x} of {}") == ("a {x} of {}",)  # other braces are only text


@pytest.mark.parametrize("prompts", ["", "photos", "a {}|a dog", "{} and {}", "a {}|", "{x}"])
def test_other_prompts_are_refused(prompts):
    with pytest.raises(ValueError, match=r"photo, simple or imagenet, or texts with one \{\}"):
        templates(prompts)


def test_a_class_counts_by_the_first_of_its_synonyms():
    assert class_noun("goldfish, Carassius auratus") == "goldfish"
    assert class_noun("tree_frog") == "tree frog"


@given(st.text(st.characters(exclude_characters=",_")))
def test_a_plain_name_is_kept(name):
    assert class_noun(name) == name
