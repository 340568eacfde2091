// The builder hands an imported .svg over as its text.
declare module '*.svg' {
  const text: string;
  export default text;
}
