;; A program in the text format: shows whether a runtime runs text as if it were
;; a module (an engine may), or refuses it.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "@guest {\"guest\":\"text\",\"target\":\"wasm32-wasip1\",\"nonce\":\"\"}\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) ;; where the line is
    (i32.store (i32.const 4) (i32.const 60)) ;; its length
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
