@main
struct Ringmaster {
    static func main() {}
}
