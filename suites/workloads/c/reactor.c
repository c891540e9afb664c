/* A reactor: exports a function and has no _start. Shows how a runtime answers
 * a module that cannot be run as a program. */
__attribute__((export_name("answer"))) int answer(void) {
    return 42;
}
