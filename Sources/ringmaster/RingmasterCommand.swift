import Ringmaster

/// The command: `ringmaster SERVICE OPTIONS`.
@main
enum RingmasterCommand: RingmasterProgram {
    static let name = "ringmaster"
    static let version = "0.1.0"
    static let abstract = "Serves network connections with several worker processes on io_uring."
    static let discussion = """
        One supervisor accepts connections and hands each to one of its workers. A worker that dies is replaced; \
        connections it had not taken yet go to another.

        Examples:
          ringmaster http --root ./public --listen 0.0.0.0:8080
          ringmaster echo --listen 127.0.0.1:7000 --workers 2
          ringmaster proxy --listen 0.0.0.0:6379 --upstream 10.0.0.7:6379
          ringmaster run --config /etc/ringmaster.yaml
          ringmaster check
          ringmaster status --control /run/ringmaster.sock
        """

    static let services: [any ServiceOptions.Type] = [HTTPOptions.self, EchoOptions.self, ProxyOptions.self]

    static let configurationExample = """
        workers: 4
        listeners:
          - listen: 0.0.0.0:6379
            service: proxy
            upstream: [10.0.0.7:6379, 10.0.0.8:6379]
          - listen: ['127.0.0.1:8080', '[::1]:8080']
            service: http
            root: /srv/www
        """
}
