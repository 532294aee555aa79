"""A TCP proxy that a test freezes, like a silent network: python tcp_proxy.py PORT HOST HOST_PORT."""

import asyncio
import sys


async def main(port: int, host: str, host_port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(host, host_port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, onward_writer))
            tasks.create_task(_pump(onward_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
