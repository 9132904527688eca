"""What a model makes of held-out texts: nats per document first, every reported number from those."""

from trainables.evaluation.documents import COLUMNS, read_documents, write_documents
from trainables.evaluation.nats import Evaluation, evaluate

__all__ = ["COLUMNS", "Evaluation", "evaluate", "read_documents", "write_documents"]
