"""POST /product: what is on the belt from now on, told by a person or by the program that knows."""

from __future__ import annotations

from starlette.responses import Response

from pipeline.errors import DataError
from workers.review.backend import ReviewBackend
from workers.review.rendering import as_json
from workers.review.visit import Refusal, Visit


class ProductApi:
    """Takes {"product": NAME}; the line picks the references of that product within about a second."""

    def __init__(self, backend: ReviewBackend) -> None:
        self._backend = backend

    def change(self, visit: Visit) -> Response:
        """Handler; any thread may call it."""
        content = visit.content
        product = content.get("product") if isinstance(content, dict) else None
        if not isinstance(product, str):
            raise Refusal(422, "refused_body", why='expected {"product": NAME}, got something else')
        try:
            self._backend.change_product(product, who=visit.user.name)
        except DataError as error:
            raise Refusal(422, "refused_body", why=str(error)) from error
        return as_json({"product": product})
