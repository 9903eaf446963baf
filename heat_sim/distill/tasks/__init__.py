"""Tasks: labelled rows in three splits, of five kinds, from files, folders, the hub, or embedded (docs/tasks.md)."""

from heat_sim.distill.tasks.embedded import EMBEDDED, load_embedded_task
from heat_sim.distill.tasks.images import ImageTask, make_image_task
from heat_sim.distill.tasks.load import load_task, load_text_task
from heat_sim.distill.tasks.questions import Question, QuestionTask, make_question_task
from heat_sim.distill.tasks.task import Kind, Scores, Split, Task
from heat_sim.distill.tasks.text import TextTask, make_split_task, make_task
from heat_sim.distill.tasks.words import WordTask, make_word_task

__all__ = [
    "EMBEDDED",
    "ImageTask",
    "Kind",
    "Question",
    "QuestionTask",
    "Scores",
    "Split",
    "Task",
    "TextTask",
    "WordTask",
    "load_embedded_task",
    "load_task",
    "load_text_task",
    "make_image_task",
    "make_question_task",
    "make_split_task",
    "make_task",
    "make_word_task",
]
