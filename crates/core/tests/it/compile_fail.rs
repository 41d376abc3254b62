//! What must not compile, and what the compiler then says: the text has to name the way out.

#[test]
fn compile_fail_texts_name_the_way_out() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
