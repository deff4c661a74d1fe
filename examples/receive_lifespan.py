"""Mail for an application whose event loop somebody else runs, such as FastAPI's under uvicorn:
python receive_lifespan.py tcp:2525:interface=127.0.0.1."""

import asyncio
import contextlib
import signal
import sys

from twisted.internet import asyncioreactor
from twisted.internet.error import CannotListenError


@contextlib.asynccontextmanager
async def mail_server(endpoint, take, domains):
    """``async with mail_server(...)`` where the application begins and ends (its ``lifespan``)."""
    loop = asyncio.get_running_loop()
    asyncioreactor.install(loop)  # before anything imports the reactor

    from twisted.internet import endpoints, reactor
    from twisted.internet.defer import Deferred, maybeDeferred

    from mailkit.delivery.callback import CallableDelivery, delivery_portal
    from mailkit.smtp.protocol import SMTPFactory

    def call(envelope, message):
        return Deferred.fromFuture(asyncio.ensure_future(take(envelope, message)))

    # In place of run(): the loop runs already, and stays when the server is gone.
    reactor.startRunning(installSignalHandlers=False)
    factory = SMTPFactory(delivery_portal(CallableDelivery(call, domains)))
    port = await endpoints.serverFromString(reactor, endpoint).listen(factory).asFuture(loop)
    try:
        yield
    finally:
        await maybeDeferred(port.stopListening).asFuture(loop)
        await asyncio.to_thread(reactor.getThreadPool().stop)


# For FastAPI:
#
#   @contextlib.asynccontextmanager
#   async def lifespan(app):
#       async with mail_server("tcp:2525", take, ["example.org"]):
#           yield
#
#   app = FastAPI(lifespan=lifespan)


async def take(envelope, message):
    """The client hears OK when this returns."""
    # In place of what takes its time: a database, a call to another service.
    await asyncio.sleep(0.1)
    print(envelope.reverse_path, message.size, flush=True)


async def main(endpoint):
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        async with mail_server(endpoint, take, ["example.org"]):
            await ended.wait()
    except CannotListenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
