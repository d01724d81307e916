"""Consumer classes: what they may not be called, what has to be awaited, what has to be set."""

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from fast_channels.migration._finding import CHANNELS, FROM_1X, Advice, Finding
from fast_channels.migration._module import Module, is_self, methods, text
from fast_channels.migration._project import Consumer, Project
from fast_channels.migration._usage import assigned

# A test compares these names with the classes themselves.

NEW: Final = {
    "": frozenset(
        {
            "cancel_on_disconnect",
            "close_timeout",
            "connection_drain",
            "layer_gap",
            "limits",
            "on_drain",
            "on_error",
            "overflow",
        }
    ),
    "websocket": frozenset(
        {
            "broadcast",
            "error_frame",
            "error_policy",
            "heartbeat_interval",
            "heartbeat_text",
            "heartbeat_timeout",
            "outbox",
            "reject",
            "websocket_close",
            "websocket_send",
        }
    ),
    "http": frozenset[str](),
}
"""What consumer classes have that those of Django Channels and 1.x do not: all, and some kinds."""

PRIVATE: Final = {
    "": frozenset(
        {
            "_connection",
            "_events",
            "_find_layer",
            "_is_connected",
            "_log_error",
            "_make_protocol",
            "_no_layer",
        }
    ),
    "websocket": frozenset({"_encode", "_join_groups", "_refuse", "_socket"}),
    "http": frozenset({"_answer", "_body", "_on_complete", "_response"}),
}

COROUTINES: Final = frozenset(
    {
        "accept",
        "broadcast",
        "close",
        "connect",
        "decode_json",
        "disconnect",
        "dispatch",
        "encode_json",
        "handle",
        "http_disconnect",
        "http_request",
        "receive",
        "receive_json",
        "reject",
        "send",
        "send_body",
        "send_headers",
        "send_json",
        "send_response",
        "websocket_connect",
        "websocket_disconnect",
        "websocket_receive",
    }
)
"""Methods of the library that have to be awaited."""

_OTHERS: Final = frozenset({"broadcast", "error_frame", "on_error", "reject"})
"""Those of the new methods that take more than an event."""

_CONSUMERS: Final = f"{CHANNELS}#consumers"
_SYNC: Final = f"{CHANNELS}#consumers-without-async"
_ROUTING: Final = f"{CHANNELS}#routing-and-middleware"
_TAKEN: Final = f"{CHANNELS}#names-that-are-taken"

_NO_ALIAS: Final = Advice(
    'set channel_layer_alias = "default" in the class: without it a consumer has no layer',
    _CONSUMERS,
)
_RENAME: Final = Advice("give it another name: the library's classes use this one", _TAKEN)
_READ_ONLY: Final = Advice(
    "set channel_layer_alias in the class: the attribute is read-only", _CONSUMERS
)
_AWAIT: Final = Advice(
    "make the method 'async def' and await it, or call async_to_sync(…)(…): it is a coroutine",
    _SYNC,
)
_THREAD: Final = Advice(
    "put @in_thread above the method, make it 'async def', or name its only parameter 'event': no "
    "other plain method is reached by an event",
    _SYNC,
)
_IN_SCOPE: Final = {
    "url_route": Advice('scope["path_params"] has what the route captured', _ROUTING),
    "user": Advice("middleware of the framework has to set it", _ROUTING, required=False),
    "session": Advice("middleware of the framework has to set it", _ROUTING, required=False),
}
_RAISES: Final = Advice(
    "a missing layer raises InvalidChannelLayerError now, and is never None",
    f"{FROM_1X}#behaviour",
    required=False,
)


def find_in_consumers(module: Module, project: Project) -> Iterator[Finding]:
    for owner in module.nodes:
        if not isinstance(owner, ast.ClassDef):
            continue
        consumer = project.consumer(module, owner)
        if consumer is not None:
            yield from _names(module, owner, consumer)
            yield from _layer(module, owner, consumer)
            if consumer.family != "ours":
                yield from _scope(module, owner)
            if consumer.family == "sync":
                yield from _plain_methods(module, owner, project)


def _names(module: Module, owner: ast.ClassDef, consumer: Consumer) -> Iterator[Finding]:
    private = PRIVATE[""] | PRIVATE[consumer.kind]
    new = NEW[""] | NEW[consumer.kind]
    for member in owner.body:
        for name in _declared(member):
            # Code for 2.0 may override what is new, but not as the handler of an event.
            is_new = consumer.family != "ours" or (name in _OTHERS and _takes_one(member))
            if name in private or (name in new and is_new):
                yield module.finding(member, "taken-name", f"{owner.name}.{name}", _RENAME)
    for node in ast.walk(owner):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store):
            continue
        if is_self(node, "channel_layer", "channel_name"):
            yield module.finding(node, "read-only", f"self.{node.attr} = …", _READ_ONLY)
        elif is_self(node, *private):
            yield module.finding(node, "taken-name", f"self.{node.attr} = …", _RENAME)


def _declared(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for each in targets if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
            yield name
        case _:
            pass


def _takes_one(node: ast.stmt) -> bool:
    """Whether it is a method with one parameter beside self, as handlers of events are."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    args = node.args
    return len([*args.posonlyargs, *args.args]) == 2 and not (
        args.vararg or args.kwarg or args.kwonlyargs
    )


def _layer(module: Module, owner: ast.ClassDef, consumer: Consumer) -> Iterator[Finding]:
    declared = {
        name for each in consumer.ancestors for node in each.body for name in _declared(node)
    }
    uses = [node for node in ast.walk(owner) if is_self(node, "channel_layer", "channel_name")] or [
        node for node in owner.body if "groups" in _declared(node)
    ]
    if uses and consumer.family != "ours" and "channel_layer_alias" not in declared:
        yield module.finding(owner, "no-alias", owner.name, _NO_ALIAS)
    for tested in _tests_for_none(ast.walk(owner)):
        if is_self(tested, "channel_layer"):
            yield module.finding(tested, "never-none", "self.channel_layer is None", _RAISES)


def _scope(module: Module, owner: ast.ClassDef) -> Iterator[Finding]:
    for node in ast.walk(owner):
        if isinstance(node, ast.Subscript) and is_self(node.value, "scope"):
            key = text(node.slice)
            if key in _IN_SCOPE:
                yield module.finding(node, "scope", f'self.scope["{key}"]', _IN_SCOPE[key])


def find_tests_for_none(module: Module) -> Iterator[Finding]:
    """``get_channel_layer()``, or a name that its result has, that is compared with None."""
    known = frozenset(
        {"channels.layers.get_channel_layer", "fast_channels.layers.get_channel_layer"}
    )
    names = assigned(module, known)
    for node in _tests_for_none(module.nodes):
        if module.called(node) in known or (isinstance(node, ast.Name) and node.id in names):
            yield module.finding(node, "never-none", "get_channel_layer() is None", _RAISES)


def _tests_for_none(nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        match node:
            case ast.Compare(
                left=left, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]
            ):
                yield left
            case ast.If(test=test) | ast.IfExp(test=test):
                yield test
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield operand
            case _:
                pass


def _plain_methods(module: Module, owner: ast.ClassDef, project: Project) -> Iterator[Finding]:
    plain = [each for each in methods(owner) if isinstance(each, ast.FunctionDef)]
    adopted = {each.name for each in plain if _is_handler(each)} | COROUTINES
    for method in plain:
        is_sent = method.name in project.sent_types and method.name not in COROUTINES
        if is_sent and not method.decorator_list and not _is_handler(method):
            yield module.finding(method, "unreachable", f"{owner.name}.{method.name}", _THREAD)
        # "return self.accept()" is awaited.
        returned = {id(each.value) for each in ast.walk(method) if isinstance(each, ast.Return)}
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and id(node) not in returned:
                called = node.func
                if is_self(called, *adopted) or _is_super(called, COROUTINES):
                    yield module.finding(node, "not-awaited", f"{ast.unparse(called)}(…)", _AWAIT)


def _is_handler(method: ast.FunctionDef) -> bool:
    """Whether our classes take a plain method for a handler; see ``_threads.py``."""
    args = [*method.args.posonlyargs, *method.args.args]
    returns = method.returns
    return (
        _takes_one(method)
        and not method.name.startswith("_")
        and args[1].arg in ("event", "message")
        and (returns is None or (isinstance(returns, ast.Constant) and returns.value is None))
    )


def _is_super(node: ast.expr, names: frozenset[str]) -> bool:
    match node:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attr):
            return attr in names
        case _:
            return False
