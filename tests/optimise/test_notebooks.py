"""Results, settings, statuses, rules and classifiers as notebooks and consoles show them."""

from __future__ import annotations

import dataclasses
import io
from html.parser import HTMLParser
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import extremal_jax as ej
import report_results
from extremal_jax.graph.rules import Rule, RuleTable
from extremal_jax.ground.html import table
from plot_results import result, smallest
from report_pages import pixels

HOSTILE = "<script>alert(1)</script>"


class Html(HTMLParser):
    """The elements and the text of a piece of HTML, which must be well-formed."""

    def __init__(self, text: Any) -> None:
        super().__init__()
        assert isinstance(text, str)
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.text, self.open = "", list[str]()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def images(self) -> list[np.ndarray]:
        return [pixels(attributes["src"]) for tag, attributes in self.elements if tag == "img"]


def html(value: Any) -> Html:
    return Html(value._repr_html_())


def test_a_result_shows_its_masks() -> None:
    found = html(result())
    assert [image.shape for image in found.images()] == [(24, 36)] * 3
    np.testing.assert_array_equal(found.images()[0], np.rint(255 * result().masks[0]))
    for text in ("ExtremalResult", "class 0, response 8.00", "50.1%", "response 3.00", "finished"):
        assert text in found.text


def test_a_batch_shows_its_first_images() -> None:
    found = html(result(6))
    assert len(found.images()) == 12
    assert "image 3: class 0" in found.text
    assert "and 2 more" in found.text


def test_the_readings_are_those_of_the_game() -> None:
    assert "response left 1.00" in html(result(game="delete")).text


@pytest.mark.parametrize("kind", list(report_results.SHAPES))
def test_masks_of_other_axes_are_pictures(kind: str) -> None:
    assert len(html(report_results.result(kind)).images()) == 3


def test_other_results() -> None:
    channels, least, inverted = html(report_results.channels()), html(smallest()), html(report_results.inversion())
    assert "1 channel, response 2.00: 1 " in channels.text
    assert "ChannelResult of the layer blocks.2" in channels.text
    assert ("a* 25.0%" in least.text, "no area suffices" in least.text, len(least.images())) == (True, True, 2)
    assert ("cosine 0.75" in inverted.text, inverted.images()[0].shape) == (True, (48, 72, 3))  # enlarged


def test_faults_are_shown() -> None:
    status = ej.Status(np.array([-1, 3, -1], np.int32))
    assert "area 1: the reward or its gradient was not finite at step 3" in html(result(status=status)).text
    assert "area 1" in html(status).text
    assert "area 1: " in repr(result(status=status))
    assert html(ej.Status(np.array([-1], np.int32))).text == "finished "


def test_a_result_prints_shapes_and_not_arrays() -> None:
    assert repr(result()).startswith("<ExtremalResult masks: float32[3,24,36], ")
    assert repr(result()).endswith("; finished>")
    assert repr(report_results.inversion()).startswith("<InversionResult images: ")


def test_nothing_breaks_under_a_trace() -> None:
    """Nor of trees of placeholders, which transformations make."""
    texts = []

    @jax.jit
    def show(one: Any) -> Any:
        texts.append((repr(one), one._repr_html_(), repr(one.status)))
        return one.rewards

    show(jax.tree.map(jnp.asarray, result()))
    assert texts[0][0].endswith("; not computed yet>")
    assert texts[0][1] is None
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), result())
    assert shapes._repr_html_() is None
    assert repr(jax.tree.map(lambda _: None, result())).startswith("<ExtremalResult ")
    assert repr(jax.tree.map(lambda _: object(), result()))


def test_settings_print_what_differs() -> None:
    assert repr(ej.Config()) == "Config()"
    assert repr(ej.Config(game="delete", num_steps=7)) == "Config(num_steps=7, game='delete')"
    assert repr(ej.InversionConfig(num_steps=3)) == "InversionConfig(num_steps=3)"
    assert "optimizer=dampened_momentum" in repr(ej.Config.torchray())
    output = io.StringIO()
    Console(file=output, width=200).print(ej.Config(game="delete"), ej.Config.torchray())
    assert "Config(game='delete')" in output.getvalue()
    assert "0x" not in output.getvalue()


def test_settings_are_a_table_with_what_differs_in_bold() -> None:
    found = html(ej.Config(num_steps=7, axes="series"))
    bold = [attributes["style"] for tag, attributes in found.elements if tag == "td" and "font-weight" in attributes["style"]]
    assert len(bold) == 6  # three cells of two settings
    assert "num_steps 7 50 " in found.text
    assert len([tag for tag, _ in found.elements if tag == "tr"]) == len(dataclasses.fields(ej.Config)) + 1


def test_rules_print_themselves() -> None:
    rule = Rule("relu", frozenset({"max"}), lambda site, inputs, output, g: (jnp.maximum(g, 0), None), description="a < b")
    rules = RuleTable("positive gradients", (rule,))
    assert repr(rule) == "<Rule relu (max): a < b>"
    assert repr(rules) == "<RuleTable 'positive gradients': relu>"
    assert "relu max a < b all else" in html(rules).text
    matches = rules.matches(lambda x: jax.nn.relu(2 * x), jnp.ones(2))
    assert repr(matches) == "<Matches of 'positive gradients': 1 equations>"
    assert "max: float32[2]" in html(matches).text


def test_a_classifier_prints_itself(classifier: Any) -> None:
    assert repr(classifier).startswith("Classifier('scenes', 26 classes, images of 128x128, ")
    found = html(classifier)
    assert "float32" in found.text
    assert "blocks.0" in found.text
    assert all(name in found.text for name in classifier.classes[:10])


def test_texts_stay_texts(classifier: Any) -> None:
    """Of classes, layers, rewards and rules."""

    def reward(outputs: Any, targets: Any) -> Any:
        return outputs[:, 0]

    reward.__name__ = HOSTILE
    rule = Rule(HOSTILE, frozenset({"max"}), lambda *_: (), description=HOSTILE)
    named = ej.models.Classifier(classifier.network, HOSTILE, (HOSTILE,), classifier.preprocessing, (HOSTILE,))
    one = report_results.channels(at=HOSTILE)
    for value in (ej.Config(reward=reward), RuleTable(HOSTILE, (rule,)), named, one):
        found = html(value)
        assert HOSTILE in found.text
        assert "script" not in [tag for tag, _ in found.elements]
    assert "<b>" not in table([("<b>",)], ("<b>",))


@pytest.mark.filterwarnings("ignore:The chararray class:DeprecationWarning")  # of treescope, with new NumPy
def test_treescope_shows_them_all(classifier: Any) -> None:
    treescope = pytest.importorskip("treescope")
    for value in (result(), ej.Config(), classifier, result().status, RuleTable("rules", ())):
        assert treescope.render_to_html(value)
