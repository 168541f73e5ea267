import Testing

@Suite struct SourceTextTests {
    private func code(_ text: String, path: String = "Sources/A/a.swift") -> [String] {
        SourceFile(path: path, text: text).code.map { String($0.trimmed) }
    }

    private func comments(_ text: String, path: String = "Sources/A/a.swift") -> [String] {
        SourceFile(path: path, text: text).comments.map { String($0.trimmed) }
    }

    @Test("line comments, nested block comments and code are told apart")
    func commentsAndCode() {
        let text = "let a = 1 // one\n/* x /* y */ z */ let b = 2\nlet c = 3"
        #expect(code(text) == ["let a = 1", "let b = 2", "let c = 3"])
        #expect(comments(text) == ["// one", "/* x /* y */ z */", ""])
    }

    @Test(
        "what a string literal says is neither code nor comment",
        arguments: [
            #"f("try! // no")"#, ##"f(#"a " try! // no"#)"##, #"f("a \" try! // no")"#,
            #"f("\(g("try! // no")) try!")"#, "f(\"\"\"\n try! \" // no\n \"\"\")",
        ])
    func strings(text: String) {
        #expect(!code(text).joined().contains("try!"))
        #expect(!comments(text).joined().contains("no"))
        #expect(code(text).joined().hasPrefix("f("))
        #expect(code(text).joined().hasSuffix(")"))
    }

    @Test("the expression inside an interpolation is code, and the literal goes on after it")
    func interpolation() {
        let text = #"f("a \(try! g(h(1))) print(") + try? b"#
        #expect(code(text)[0].contains("try! g(h(1))"))
        #expect(!code(text)[0].contains("print"))
        #expect(code(text)[0].hasSuffix("+ try? b"))
    }

    @Test("an unterminated literal blanks its own line only")
    func unterminated() {
        #expect(code("let a = \"open\nlet b = 2")[1] == "let b = 2")
    }

    @Test("C: block comments do not nest, and a quote as a character opens no string")
    func c() {
        #expect(code("/* a /* b */ int c;", path: "csrc/A/a.c") == ["int c;"])
        #expect(comments("int q = '\"'; // end\nint r = '\\'';", path: "csrc/A/a.c") == ["// end", ""])
    }
}
